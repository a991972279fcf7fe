"""The 3D Slicer module.  It imports neither torch nor numba, and of the library only what does without them.

Each package uses only those above it:

    wording       sentences of the panel, and the library's sentences translated
    scene         MRML nodes <-> the library's images and segmentations; the nodes that a run adds
    run           the worker's process, one reconstruction from nodes to nodes, the logic
    installation  which Python packages are missing; installing them with consent, in a process
    panel         what the user sees
    effect        the same from within the Segment Editor, for labels drawn on some slices
    selftest      tests that run inside the application
"""
