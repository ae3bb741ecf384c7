"""Features from audio: MFCC and filterbanks, energy VAD, mean normalisation."""
