"""gettext catalogues: `<language>/LC_MESSAGES/evergreet.po`; `evergreet.pot` lists what there is to translate."""
