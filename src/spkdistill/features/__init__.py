"""Features from audio: MFCC and filterbanks, energy VAD, sliding mean normalisation."""
