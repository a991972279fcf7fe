"""What stands between 3D Slicer and the library: the scene, the worker's process, the panel.  Imports neither torch nor
numba, and the library's rooms without them only.
"""
