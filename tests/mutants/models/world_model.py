from tests.mutants import Mutant

TESTS = "tests/models/test_world_model.py"

MUTANTS = [
    Mutant(
        "reward_begins_random",
        "VectorWorldModel.setup",
        "MLP(model.head_layers, model.units, bins, 0.0, **net)",
        "MLP(model.head_layers, model.units, bins, 1.0, **net)",
    ),
    Mutant(
        "feat_of_the_prior",
        "observe",
        'call("post_logit", params, deter, embed)',
        'call("prior_logit", params, deter)',
        tests="tests/algorithms/test_world_model_loss.py",
    ),
    Mutant(
        "feat_of_stoch_before_deter",
        "make_vector_model.feat",
        "[state.deter, state.stoch.reshape(*state.deter.shape[:-1], -1)]",
        "[state.stoch.reshape(*state.deter.shape[:-1], -1), state.deter]",
        tests="tests/conformance/test_numbers.py::test_filtering_and_heads",
    ),
]
