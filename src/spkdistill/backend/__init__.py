"""Back-ends: from embeddings to trial scores, as Kaldi's ivector-* tools do it."""
