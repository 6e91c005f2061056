"""Whether a clip says a text: connectionist temporal classification (CTC) over posteriors of phones."""
