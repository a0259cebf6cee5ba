"""The same for all at once, from columns of what was said: how loud, of which classes, what if. Pure."""
