"""What environments show and what agents may do: observations, distributions of actions, noise."""
