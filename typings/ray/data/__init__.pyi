from collections.abc import Callable, Sequence
from typing import Any, Protocol

class _CallableClass(Protocol):
    def __call__(self, batch: Any, /) -> Any: ...

class ActorPoolStrategy:
    def __init__(
        self,
        *,
        size: int | None = None,
        max_concurrent_calls_per_actor: int | None = None,
        enable_true_multi_threading: bool | None = None,
    ) -> None: ...

class Dataset:
    def map_batches(
        self,
        fn: Callable[[Any], Any] | type[_CallableClass],
        *,
        fn_constructor_kwargs: dict[str, Any] | None = None,
        batch_size: int | None = None,
        batch_format: str | None = "default",
        compute: ActorPoolStrategy | None = None,
        **ray_remote_args: Any,
    ) -> Dataset: ...
    def take_all(self) -> list[dict[str, Any]]: ...

class ExecutionOptions:
    preserve_order: bool

class DataContext:
    enable_progress_bars: bool
    execution_options: ExecutionOptions
    @staticmethod
    def get_current() -> DataContext: ...

def from_items(items: Sequence[Any]) -> Dataset: ...
