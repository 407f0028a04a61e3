"""What the stage `refine` delivers and where: a restorer, and in joint mode the reasoner that was refined with it.

from components.refinement import delivered
delivered.reasoner_of(delivered.REFINED)        # the reasoner under which the refined restorer works
"""

from __future__ import annotations

from pathlib import Path

REASONER, REFINED = Path("models/reasoner"), Path("models/restorer-refined")
# inside the refined restorer's folder, where a reasoner was refined too
INSIDE = "reasoner"


def reasoner_of(refined: Path, otherwise: Path = REASONER) -> Path:
    """The folder of the reasoner that belongs to a refined restorer: its own, else the supervised one."""
    own = refined / INSIDE
    return own if own.is_dir() else otherwise
