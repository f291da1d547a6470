"""Results that have derivatives in forward mode only, and say so where reverse mode asks for them."""

from __future__ import annotations

from typing import Any, NoReturn

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir


def forward_only(tree: Any) -> Any:
    """The same tree of arrays, of which the floating ones raise one line of ours where they are transposed.

    A search ends after a number of steps that its data decide, and JAX cannot run such a loop backward. Derivatives
    are transposed from the end of a computation to its begin, so that this is met before the loop is.

    Example:
        >>> float(jax.jacfwd(lambda x: forward_only(2 * x))(jnp.array(1.0)))
        2.0
    """
    return jax.tree.map(lambda x: _forward_only.bind(x) if jnp.issubdtype(x.dtype, jnp.inexact) else x, tree)


def _jvp(primals: Any, tangents: Any) -> tuple[Any, Any]:
    (x,), (t,) = primals, tangents
    return forward_only(x), t if type(t) is ad.Zero else forward_only(t)


def _refuse(*_: Any, **__: Any) -> NoReturn:
    raise ValueError(
        "PrefixReadout: its coordinate has derivatives in forward mode only, because its search is a loop whose length "
        "the frames decide; take jax.jacfwd or jax.jvp instead of jax.grad, or stop it with jax.lax.stop_gradient."
    )


def _batched(args: Any, dims: Any) -> tuple[Any, Any]:
    return forward_only(args[0]), dims[0]


_forward_only = Primitive("forward_only")
_forward_only.def_impl(lambda x: x)
_forward_only.def_abstract_eval(lambda x: x)
ad.primitive_jvps[_forward_only] = _jvp
ad.primitive_transposes[_forward_only] = _refuse
batching.primitive_batchers[_forward_only] = _batched
mlir.register_lowering(_forward_only, lambda context, x: [x])
