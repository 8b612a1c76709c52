"""What a chat's lane remembers: its states, as they are kept in the store, with scopes and timers."""
