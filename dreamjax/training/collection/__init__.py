"""From environments to replay: policies that act, and what steps and stores."""
