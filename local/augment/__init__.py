"""What training changes at random.

Modules: `base`, `mixup`, `noise_and_rooms`, `spectrogram`, `waveform`.
"""
