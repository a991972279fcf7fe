#!/bin/sh
# Sets up .venv if need be and reconstructs a real scan, of which only every third slice is used, with its segmentation.
set -eu
cd "$(dirname "$0")"
. Testing/setup_environment.sh
setup_environment evaluate
mkdir -p output
sample=Resources/SampleData/ct_spine_lumbar
echo
echo "1. Reconstruct a CT scan of lumbar vertebrae, and ten segments, from every third slice."
python -m TriplaneGaussianReconLib reconstruct "$sample.nii.gz" --labels "$sample.seg.nrrd" --keep-every 3 \
    --output output/ct_spine_lumbar.nrrd --output-labels output/ct_spine_lumbar.seg.nrrd \
    --output-confidence output/ct_spine_lumbar_expected_error.nrrd --report output/ct_spine_lumbar.json
echo
echo "2. Compare it with the slices that were left out, and with what other methods make of them."
python -m TriplaneGaussianReconLib evaluate "$sample.nii.gz" --labels "$sample.seg.nrrd" --keep-every 3 \
    --figure output/ct_spine_lumbar.png
echo
echo "The results are in $PWD/output:"
ls -1 output
echo "Look at ct_spine_lumbar.png; open the .nrrd files in 3D Slicer."
