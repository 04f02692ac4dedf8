//! A server that fails or falls silent at every call in turn.
