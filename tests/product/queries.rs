//! What `status`, `history` and `logs` answer. None of them asks GitHub.
