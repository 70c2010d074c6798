@echo off
rem Runs on Windows if initialize.sh fails or sh is missing. Without sh, the lab needs no .env: on Windows, any uid can write.
where /q sh
if not errorlevel 1 exit /b 1
if not exist compose.override.yaml echo services: {}>compose.override.yaml
exit /b 0
