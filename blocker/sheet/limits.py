"""How much one sheet may hold. Beyond, it is refused before anything of it is used."""

MAX_FILE_BYTES = 64 << 20
MAX_PLAIN_BYTES = 256 << 20  # what gzip or xlsx may unfold to
MAX_ROWS = 2_000_000
MAX_XLSX_CELLS = 4_000_000  # as a rectangle: the reader keeps empty cells, too
MAX_COLUMNS = 200
MAX_CELL_CHARS = 10_000
