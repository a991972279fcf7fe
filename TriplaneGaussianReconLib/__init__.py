"""Dense volumes and segmentations from sparse slices, with 3D Gaussians tied together by a tri-plane field.

The packages stand in the order in which data passes through them.  Each uses only those above it:

    errors           what a user can act on
    config           what decides about a result: presets, names; needs no torch
    data             what is observed, and where: grids, images, observations; needs numpy alone
    io               files: read, and written whole or not at all
    cuda             kernels for NVIDIA GPUs: compiled at first use, cached, launched
    runtime          devices, memory, threads, progress
    labels           segments as channels, on slices and between them
    registration     displacement between neighbouring slices
    self_supervised  networks that are trained on this volume alone
    prediction       what is expected between the slices: interpolators, their ensemble, learned fusion, expected error
    gaussians        the cloud: where Gaussians start, and the tri-plane field that ties them together
    rasterizer       Gaussians on planes: one differentiable operation, a reference and two implementations
    model            all that is needed to draw a result, in memory and on disk
    rendering        a model on planes, or on a grid
    fitting          losses, training, refinement, slab by slab
    pipeline         the stages in order
    jobs             a reconstruction in a process of its own
    evaluation       hides slices, lets methods fill them, scores them
    command_line     `python -m TriplaneGaussianReconLib`
"""

__version__ = "0.1.0"
