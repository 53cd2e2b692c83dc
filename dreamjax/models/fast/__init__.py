"""Faster forms of what the models compute: the same numbers, in an order that hardware likes better.

Nothing here changes a result, and no network or loss mentions it: the code outside of this package can be read, and is
correct, without it. Flax interceptors (``flax.linen.intercept_methods``) replace products and hidden features from
outside, while an unchanged module runs.

- ``kernels``: ``x @ kernel`` whose gradient for the kernel is computed in the form that CPUs are fastest at.
- ``deferred_gradients``: products in a scan whose kernel gradients are one product after the scan.
- ``activations``: record what a head's kernels computed, and apply the head later without multiplying again.
- ``steps``: a world model's steps in a scan, with what can be computed for the whole scan hoisted out of it.
- ``rssm``, ``grid``: what the two world models hoist.
"""
