"""Which frozen encoder, which of its layers, and which way to join several reads phones best?"""
