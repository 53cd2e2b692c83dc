from tests.mutants import Mutant

TESTS = "tests/models/test_pooled_images.py"

MUTANTS = [
    Mutant("pooling_by_the_mean", "max_pool", "jnp.max", "jnp.mean"),
    Mutant("pooled_image_tiled", "repeat", "jnp.repeat(jnp.repeat(x, 2, 1), 2, 2)", "jnp.tile(x, (1, 2, 2, 1))"),
    Mutant(
        "channels_of_the_blocks_in_turn",
        "PooledDecoder.__call__",
        "jnp.moveaxis(by_block.reshape(blocks, -1, *low[:2], low[2] // blocks), 0, -2)",
        "jnp.moveaxis(by_block.reshape(blocks, -1, *low[:2], low[2] // blocks), 0, -1)",
    ),
    Mutant(
        "decoder_takes_stoch_for_deter", "PooledDecoder.__call__", "[config.deter]", "[feat.shape[-1] - config.deter]"
    ),
    Mutant(
        "images_not_centered",
        "PooledEncoder.__call__",
        "x.reshape(-1, height, width, channels) - 0.5",
        "x.reshape(-1, height, width, channels)",
    ),
    Mutant("images_of_any_size", "check_images", "side % HALVED == 0", "True"),
]
