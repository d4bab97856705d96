"""Built-in patches, one file per family of models; importing one registers its patches.

Most replace code that reads the data of its inputs in a Python loop, so that the length of the
loop would be fixed, by tensor operations that give the same; each file says what and why. They are
chosen by the source of the original, not by the name of the model: another version of the code is
left alone, and what it fixes is said in the export's notes.
"""

from portwright.patches import (
    attention,
    caches,
    experts,
    image_features,
    mra,
    multimodal_rope,
    pixtral,
    resampling,
    sam_hq,
    sew,
    timesformer,
    vision,
)

__all__ = [
    "attention",
    "caches",
    "experts",
    "image_features",
    "mra",
    "multimodal_rope",
    "pixtral",
    "resampling",
    "sam_hq",
    "sew",
    "timesformer",
    "vision",
]
