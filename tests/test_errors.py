from fmnist_utils.errors import FailureError, not_installed, unknown


def test_an_unknown_name_is_told_with_the_valid_ones() -> None:
    error = unknown("class index", 10, range(3))
    assert str(error) == "Unknown class index 10: choose one of 0, 1, 2."
    assert isinstance(error, ValueError)


def test_a_missing_library_is_told_with_the_command_that_brings_it() -> None:
    error = not_installed("faiss", "serve")
    assert isinstance(error, FailureError)
    message = str(error)
    assert message.startswith("This needs faiss, which is not installed: ")
    assert message.endswith('pip install "fmnist_utils[serve]"')  # to be copied: no full stop
