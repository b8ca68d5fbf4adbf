module penstock.example/json-vectors

go 1.21
