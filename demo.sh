#!/bin/sh
# Sets up .venv if need be and reconstructs a brain scan, of which only every 4th slice is used, with its segmentation.
set -eu
cd "$(dirname "$0")"
. Testing/setup_environment.sh
setup_environment evaluate
mkdir -p output
sample=Resources/SampleData/mr_fetal_atlas_sb27
echo
echo "1. Reconstruct an MR scan of a fetal brain, and eight tissues, from every 4th slice (one to three minutes)."
python -m TriplaneGaussianReconLib reconstruct "$sample.nii.gz" --labels "$sample.seg.nrrd" --keep-every 4 \
    --output output/brain.nrrd --output-labels output/brain.seg.nrrd \
    --output-confidence output/brain_expected_error.nrrd --report output/brain.json
echo
echo "2. Draw it across the slices: what was used, linear interpolation, the reconstruction, and the truth."
python Testing/Benchmarks/pictures.py across "$sample.nii.gz" output/brain.nrrd --keep-every 4 --output output/brain.png
echo
echo "The results are in $PWD/output:"
ls -1 output
echo
echo "Look at   $PWD/output/brain.png"
echo "Open brain.nrrd and brain.seg.nrrd in 3D Slicer, or try a scan of your own:"
echo "  .venv/bin/python -m TriplaneGaussianReconLib reconstruct thick.nii.gz --output isotropic.nii.gz"
