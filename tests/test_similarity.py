import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score
from sklearn.neighbors import NearestNeighbors

from fmnist_utils import data, similarity
from fmnist_utils.errors import BadInputError

RNG = np.random.default_rng(0)
SKETCHES = data.sketches(10, seed=1).images
VECTORS = similarity.unit(RNG.normal(size=(500, 16)))
QUERIES = similarity.unit(RNG.normal(size=(30, 16)))


def test_neighbours_are_those_of_scikit_learn():
    found = similarity.Index(VECTORS).search(QUERIES, 7)
    reference = NearestNeighbors(n_neighbors=7, metric="cosine").fit(VECTORS)
    distances, indices = reference.kneighbors(QUERIES)
    np.testing.assert_array_equal(found.indices, indices)
    np.testing.assert_allclose(found.similarities, 1 - distances, atol=1e-5)


def test_the_graph_finds_nearly_all_of_them():
    exact = similarity.Index(VECTORS).search(QUERIES, 10).indices
    found = similarity.Index(VECTORS, exact=False).search(QUERIES, 10).indices
    shared = [len(set(a) & set(b)) for a, b in zip(exact, found, strict=True)]
    assert np.mean(shared) >= 9.5


@given(k=st.integers(1, 20))
def test_by_cosine_each_is_its_own_neighbour(k):
    found = similarity.Index(VECTORS).search(VECTORS[:20], k)
    np.testing.assert_array_equal(found.indices[:, 0], np.arange(20))
    assert (np.diff(found.similarities, axis=1) <= 1e-6).all()


def test_inner_products_prefer_what_is_longer():
    found = similarity.Index([[1, 0], [3, 3]]).search([[1, 0]], 2)
    assert found.indices.tolist() == [[1, 0]]
    assert found.similarities.tolist() == [[3, 1]]


def test_few_directions_find_what_all_find_where_there_are_no_more():
    turned = np.linalg.qr(RNG.normal(size=(80, 80)))[0][:16]
    wide, queries = VECTORS @ turned, QUERIES @ turned  # 16 dimensions among 80
    found = similarity.Index(wide, directions=16).search(queries, 10)
    expected = similarity.Index(VECTORS).search(QUERIES, 10)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_allclose(found.similarities, expected.similarities, atol=1e-5)


@given(scale=st.floats(1e-3, 1e3))
def test_unit_vectors_forget_their_length(scale):
    np.testing.assert_allclose(similarity.unit(scale * VECTORS), VECTORS, atol=1e-6)
    np.testing.assert_array_equal(similarity.unit(np.zeros((1, 3))), np.zeros((1, 3)))


@pytest.mark.parametrize(
    ("queries", "k", "message"),
    [
        (QUERIES, 0, "between 1 and 500; received 0"),
        (QUERIES, 501, "received 501"),
        (QUERIES[:, :5], 3, "16 numbers each; received 5"),
        (QUERIES[0], 3, r"\(16,\)"),
        (np.full((1, 16), np.nan), 3, "finite"),
    ],
)
def test_what_does_not_fit_is_named(queries, k, message):
    with pytest.raises(BadInputError, match=message):
        similarity.Index(VECTORS).search(queries, k)


def test_retrieval_is_measured_as_scikit_learn_does():
    labels, wanted = RNG.integers(0, 3, 500), RNG.integers(0, 3, 30)
    measured = similarity.retrieval(similarity.Index(VECTORS), labels, QUERIES, wanted, k=5)
    cosines = QUERIES @ VECTORS.T
    expected = [
        average_precision_score(labels == label, row)
        for label, row in zip(wanted, cosines, strict=True)
    ]
    assert measured["map"] == pytest.approx(np.mean(expected), abs=1e-4)
    first = labels[np.argsort(-cosines, axis=1)[:, :5]] == wanted[:, None]
    assert measured["precision_at_k"] == pytest.approx(first.mean())
    assert measured["recall_at_k"] == pytest.approx(first.any(axis=1).mean())


def test_a_perfect_embedding_retrieves_perfectly():
    labels = np.arange(100) % 4
    index = similarity.Index(np.eye(4)[labels])
    measured = similarity.retrieval(index, labels, np.eye(4), np.arange(4))
    assert set(measured.values()) == {1.0}


def test_what_a_graph_does_not_find_counts_as_missed():
    vectors = similarity.unit(RNG.normal(size=(3_000, 2)))  # a graph of a circle is hard to walk
    labels = np.zeros(len(vectors), int)
    graph = similarity.Index(vectors, exact=False)
    found = graph.search(vectors[:5], len(vectors)).indices
    measured = similarity.retrieval(graph, labels, vectors[:5], np.zeros(5, int))
    assert measured["map"] == pytest.approx((found >= 0).mean(), abs=1e-6)


@pytest.mark.parametrize("asked", [{"queries": 0}, {"labels": 3}, {"k": 0}, {"k": 501}])
def test_retrieval_needs_queries_and_a_label_a_vector(asked):
    given = {"queries": 30, "labels": 500, "k": 10, **asked}
    with pytest.raises(BadInputError, match=rf"received {given['queries']} queries"):
        similarity.retrieval(
            similarity.Index(VECTORS),
            np.zeros(given["labels"], int),
            QUERIES[: given["queries"]],
            np.zeros(given["queries"], int),
            k=given["k"],
        )


def test_at_least_one_direction():
    with pytest.raises(BadInputError, match="at least 1; received 0"):
        similarity.Index(VECTORS, directions=0)
