"""Dense volumes and segmentations from sparse slices, with 3D Gaussians tied together by a tri-plane field."""

__version__ = "0.1.0"
