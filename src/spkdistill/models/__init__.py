"""Speaker embedding networks: features (batch, frames, dim) in, embeddings (batch, embedding_dim) out."""
