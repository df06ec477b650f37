"""Class weights speed up rare classes and do not bias what is learned."""

import torch
from torch.nn import functional

from guidegen.study import Study
from guidegen.train.class_balance import measure_frequencies, weigh_classes
from guidegen.train.cohort import Cohort

FREQUENCIES = torch.tensor([0.9, 0.09, 0.009, 0.001], dtype=torch.float64)


def test_weights_grow_with_rarity_and_keep_the_mean():
    weights = weigh_classes(FREQUENCIES, 0.5)
    assert (weights.diff() > 0).all()
    assert torch.isclose((weights * FREQUENCIES).sum(), torch.tensor(1.0, dtype=torch.float64))
    assert torch.equal(weigh_classes(FREQUENCIES, 0.0), torch.ones(4))


def test_the_weighted_cross_entropy_is_least_at_the_true_probabilities():
    """The loss of stage I for voxels that all look alike: its optimum must be the class frequencies themselves."""
    weights = weigh_classes(FREQUENCIES, 0.5).double()
    logits = FREQUENCIES.log().requires_grad_()
    losses = functional.cross_entropy((logits + weights.log()).expand(4, 4), torch.arange(4), reduction="none")
    (losses * weights * FREQUENCIES).sum().backward()
    assert logits.grad is not None
    assert logits.grad.abs().max() < 1e-7


def test_frequencies_count_the_voxels_of_labelled_cases(prepared_study):
    cohort = Cohort.load(Study.load(prepared_study))
    labelled = [case for case in cohort.cases if case.labels is not None]
    frequencies = measure_frequencies(cohort.cases, 21)
    voxels = sum(case.load_labels().size for case in labelled)
    background = sum(int((case.load_labels() == 0).sum()) for case in labelled)
    assert len(labelled) < len(cohort.cases)
    assert frequencies[0] == (background + 1) / (voxels + 21)
    assert torch.isclose(frequencies.sum(), torch.tensor(1.0, dtype=torch.float64))
