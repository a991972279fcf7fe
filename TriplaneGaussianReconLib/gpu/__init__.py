"""What runs on NVIDIA GPUs: the bundled CUDA source, compiled at first use, and the operations that it holds."""
