"""Sources of batches and labels: arrays, files, images, records and iterables."""
