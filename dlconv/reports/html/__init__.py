"""Pages: one self-contained HTML file from a report, its plots inlined. Needs the extra `report`."""
