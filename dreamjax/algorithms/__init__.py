"""Pure functions of learning. Nothing here holds state or touches a file."""
