//! Round trips and golden bytes of the key schema.
