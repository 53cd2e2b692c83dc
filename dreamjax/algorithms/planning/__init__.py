"""Planning: choosing an action by looking ahead in a model, from the actor's policy and the critic's value.

``model`` says what a model is; ``candidates`` lists and ranks actions. The methods are ``one_step`` (each action once),
``tree`` (Gumbel MuZero), ``piecewise`` (sequences that change each part of the action once) and ``shooting`` (CEM:
sequences refitted round by round). ``dreamjax.agents.planning`` chooses among them by ``planner.method``.
"""
