"""A world model whose state lies on the grid: local, shared over places, centered on where the action acts.

- ``layout``: where things are: the layout of a state, the place of an action, windows around places.
- ``layers``: networks that read or change a grid by shared, local weights; actor and heads.
- ``motion``: how an object on the grid moves as one piece.
- ``pointer``: rows that come from rows above them.
- ``model``: the world model made of these.
"""
