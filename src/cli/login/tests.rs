//! What a person sees of a sign-in, and what is stored of it: nothing unless all is right.
