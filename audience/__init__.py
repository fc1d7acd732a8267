"""The people: accounts, lists, groups, fields, recipients and the rules of subscription."""
