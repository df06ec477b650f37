"""Facts that are read from the prompt: what a short training would not learn from the losses of whole volumes."""

import torch
from torch import Tensor, nn

SMALLEST_SPREAD = 1e-6


def summarise_text(text: Tensor, tokens: Tensor) -> Tensor:
    """Return mean and maximum (B, 2 E) of token states (B, T, E), which are zero where `tokens` (B, T) is false."""
    mean = text.sum(1) / tokens.sum(1, keepdim=True).clamp(min=1)
    return torch.cat([mean, text.masked_fill(~tokens.unsqueeze(-1), -torch.inf).amax(1)], 1)


class PromptReader(nn.Module):
    """Reads facts of each class from the token states, by a ridge regression that is fitted once and not trained.

    Args:
        text_width: E of the token states.
        classes: C.
        facts: F, how many facts there are of a class.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, text_width: int, classes: int, facts: int) -> None:
        super().__init__()
        self.shape = (classes, facts)
        self.register_buffer("weight", torch.zeros(2 * text_width, classes * facts))
        self.register_buffer("bias", torch.zeros(classes * facts))

    def forward(self, summary: Tensor) -> Tensor:
        """Return the facts (B, C, F) that prompts tell, for their summaries (B, 2 E)."""
        return (summary.float() @ self.weight + self.bias).unflatten(1, self.shape)

    def fit(self, summaries: Tensor, facts: Tensor, known: Tensor, strength: float) -> None:
        """Fit the regression to prompts and what is known of their cases.

        Args:
            summaries: of `summarise_text`, (N, 2 E).
            facts: (N, C, F).
            known: 1 where a fact counts, else 0, (N, C, F).
            strength: penalty on the squared weights of summaries that have unit variance; the errors are summed.
        """
        inputs, targets, counts = summaries.double(), facts.flatten(1).double(), known.flatten(1).bool()
        centre, spread = inputs.mean(0), inputs.std(0, correction=0).clamp(min=SMALLEST_SPREAD)
        inputs = (inputs - centre) / spread
        penalty = strength * torch.eye(inputs.shape[1], dtype=inputs.dtype, device=inputs.device)
        weight = torch.zeros(self.weight.shape, dtype=inputs.dtype, device=inputs.device)
        bias = torch.zeros(self.bias.shape, dtype=inputs.dtype, device=inputs.device)
        for rows in counts.unique(dim=1).unbind(1):  # facts that are known of the same prompts are fitted together
            if not rows.any():
                continue
            columns = (counts == rows.unsqueeze(1)).all(0)
            wanted = targets[rows][:, columns]
            bias[columns] = wanted.mean(0)
            x = inputs[rows]
            weight[:, columns] = torch.linalg.solve(x.T @ x + penalty, x.T @ (wanted - bias[columns]))
        weight = weight / spread.unsqueeze(1)
        self.weight.copy_(weight)
        self.bias.copy_(bias - centre @ weight)
