"""What tests build: bundles, graphs, clips, pictures, stores, servers; a file for each."""
