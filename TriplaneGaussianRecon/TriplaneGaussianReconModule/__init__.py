"""What stands between 3D Slicer and the library.  Imports neither torch nor numba, and the library's packages without
them only.

Each package uses only those above it:

    wording       sentences of the panel
    installation  which packages are missing; installing them with consent
    scene         MRML nodes <-> the library's images and segmentations; what a run leaves in the scene
    run           a request, the worker's process, one reconstruction from nodes to nodes, the logic
    panel         what the user sees
    selftest      the tests that run inside the application
"""
