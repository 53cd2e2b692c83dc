"""The deliberate faults of ``tests/mutations.py`` still fit the code; that tests see them is shown by ``make mutants``."""

from mutations import MUTATIONS, ROOT, source


def test_the_text_that_a_mutation_changes_occurs_once_and_what_takes_its_place_compiles():
    for mutation in MUTATIONS:
        path, text = source(mutation)
        compile(text, path, "exec")


def test_names_differ_and_the_tests_that_must_see_them_exist():
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)
    for mutation in MUTATIONS:
        for test in mutation.tests.split():
            path, _, name = test.partition("::")
            file = ROOT / path
            assert file.exists(), test
            function = name.partition("[")[0].rpartition("::")[2]
            assert not name or f"def {function}(" in file.read_text(), f"{mutation.name}: there is no {test}"
