"""TensorBoard's way in: the loader, and routes that hand each request to `serving`.

TensorBoard imports this module unguarded at its start, so it imports next to nothing; the rest comes with `load`,
whose errors TensorBoard reports and survives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorboard.plugins import base_plugin

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping
    from wsgiref.types import WSGIApplication

    from tensorboard_loss_slicer.serving.answers import Answers

# The same name as `metadata.PLUGIN_NAME`, which needs the protocol buffers.
_PLUGIN_NAME = "loss_slicer"

DEFAULT_STEPS_KEPT = 1000
"""How many steps of a tag TensorBoard keeps, unless its `--samples_per_plugin` says otherwise."""


class TBLoader(base_plugin.TBLoader):
    """What the entry point `tensorboard_plugins` names."""

    def fix_flags(self, flags: argparse.Namespace) -> None:
        """Keeps more steps of a tag than TensorBoard's 10 for data of this kind, unless the user chose a number."""
        kept = getattr(flags, "samples_per_plugin", None)
        if isinstance(kept, dict):
            kept.setdefault(_PLUGIN_NAME, DEFAULT_STEPS_KEPT)

    # TensorBoard's own method has no annotations and returns None, which is taken for its type.
    def load(self, context: base_plugin.TBContext) -> LossSlicerPlugin | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The plugin, or None where TensorBoard runs without a data provider."""
        if context.data_provider is None:
            return None
        from tensorboard_loss_slicer.serving.answers import Answers

        kept = (context.sampling_hints or {}).get(_PLUGIN_NAME, DEFAULT_STEPS_KEPT)
        return LossSlicerPlugin(Answers(provider=context.data_provider, steps_kept=max(0, kept)))


class LossSlicerPlugin(base_plugin.TBPlugin):
    """The Loss Slicer tab and its routes under `/data/plugin/loss_slicer`."""

    plugin_name = _PLUGIN_NAME

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    def get_plugin_apps(self) -> Mapping[str, WSGIApplication]:
        """Route -> WSGI application."""
        from tensorboard_loss_slicer.serving.http import wsgi_app

        answers = self._answers
        return {
            "/tags": wsgi_app(answers.tags),
            "/steps": wsgi_app(answers.steps),
            "/header": wsgi_app(answers.header),
            "/data": wsgi_app(answers.data),
            "/batch": wsgi_app(answers.batch, methods=("GET", "HEAD", "POST")),
            "/export": wsgi_app(answers.export),
            "/index.js": wsgi_app(answers.entry),
            "/static/*": wsgi_app(answers.static),
        }

    def is_active(self) -> bool:
        """False: TensorBoard itself finds out whether there is data, by `data_plugin_names`."""
        return False

    def frontend_metadata(self) -> base_plugin.FrontendMetadata:
        """The tab, and the module that draws it."""
        return base_plugin.FrontendMetadata(es_module_path="/index.js", tab_name="Loss Slicer")
