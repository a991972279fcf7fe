"""The effect of the Segment Editor.  Slicer reads this file by itself, as a module with the name of its folder."""
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import qt
import slicer
from SegmentEditorEffects import AbstractScriptedSegmentEditorEffect
from slicer.i18n import tr as _

if TYPE_CHECKING:  # slow, and not needed when the application starts
    from TriplaneGaussianReconModule.effect.options import Options

_ICON = Path(__file__).resolve().parents[1] / "Resources" / "Icons" / "TriplaneGaussianRecon.png"


class SegmentEditorEffect(AbstractScriptedSegmentEditorEffect):
    """Fills segments between the slices on which they are drawn, guided by the image.

    Slicer calls the methods; `scriptedEffect` is its qSlicerSegmentEditorScriptedEffect.
    """

    def __init__(self, scriptedEffect: Any) -> None:
        scriptedEffect.name = "Fill by image"  # not translated: effects are found by it
        scriptedEffect.title = _("Fill by image")
        scriptedEffect.perSegment = False  # all visible segments
        super().__init__(scriptedEffect)
        self.options: Options | None = None

    def clone(self) -> Any:
        """Return another one, for another Segment Editor."""
        import qSlicerSegmentationsEditorEffectsPythonQt as effects

        made = effects.qSlicerSegmentEditorScriptedEffect(None)
        made.setPythonSource(Path(__file__).as_posix())
        return made

    def icon(self) -> Any:
        """Return the picture on the effect's button."""
        return qt.QIcon(str(_ICON))

    def helpText(self) -> str:
        """Return what the Segment Editor tells about the effect."""
        return "<html>" + _(
            "Fill segments between slices, guided by the image<br>. Instructions: <p><ul>"
            "<li>Draw every segment on some slices, every eighth say, from where it begins to where it ends."
            "<li>Press <b>Fill</b>. All visible segments are filled. Look at the preview, and at the certainty."
            "<li>Press <b>Draw slice ... next</b>, draw there with any other effect, come back and fill again: that "
            "takes seconds. When content, press <b>Apply</b>."
            "</ul>Slices on which nothing is drawn between drawn ones are filled. Masking settings are ignored.")

    def setupOptionsFrame(self) -> None:
        """Make the controls below the effects."""
        from TriplaneGaussianReconModule.effect.options import Options

        self.options = Options(self.scriptedEffect)

    def createCursor(self, widget: Any) -> Any:
        """Keep the usual cursor: nothing is drawn with this effect."""
        return slicer.util.mainWindow().cursor

    def setMRMLDefaults(self) -> None:
        """There are no parameters to keep."""

    def activate(self) -> None:
        """The user has chosen the effect."""
        self.updateGUIFromMRML()

    def updateGUIFromMRML(self) -> None:
        """Show what is possible with what is chosen in the editor."""
        if self.options is not None:
            self.options.update()

    def sourceVolumeNodeChanged(self) -> None:
        """Another volume was chosen in the editor."""
        self.updateGUIFromMRML()

    def cleanup(self) -> None:
        """The effect is about to be deleted."""
        if self.options is not None:
            self.options.close()
            self.options = None
