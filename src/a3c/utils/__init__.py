"""What every other folder may use: no Keras, nothing of reinforcement learning."""
