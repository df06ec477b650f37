"""Errors that a user can act on."""


class GuideGenError(Exception):
    """Bad input or a broken precondition; the message says what was found, where, and what would be right.

    The command line prints the message without a traceback and exits with code 2.
    """

    exit_code = 2


class ItemError(GuideGenError):
    """One item (a case, a series) cannot be processed; the shard goes on and the item becomes a `failed` row."""


class ItemExcluded(GuideGenError):
    """One item is left out on purpose; it becomes an `excluded` row with this message as its reason."""


class ShardFailed(GuideGenError):
    """More items of a shard failed than the config allows."""

    exit_code = 1


class VerificationFailed(GuideGenError):
    """What lies on disk is not what the manifests say."""

    exit_code = 1
