//! Files in and out: `.npy`/`.npz` tensors, and outputs that are either whole or absent.
