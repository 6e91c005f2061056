"""Where pretrained weights come from: packages, hubs and local files, all checked."""
