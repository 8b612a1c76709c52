"""What a bot under test gets: simulated users, their distribution over the chats, faults, and one run of all of it."""
